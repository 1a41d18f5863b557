"""From `apt install` to a station that runs for ever, in its sandbox, with a journal that programs can read."""

from __future__ import annotations

from asked import show, until_online
from conftest import STATION, MakeMachine, package


def test_an_installation_gives_a_running_service_and_purge_leaves_nothing(fresh: MakeMachine) -> None:
    machine = fresh("install")
    machine.put_on_card("alto.yaml", STATION.encode())
    machine.switch_on()
    files = "find / -xdev -not -path '/var/lib/apt/*' -not -path '/var/cache/*' -not -path '/var/log/*' | sort"
    machine.run(f"{files} > /run/before")
    (machine.share / package().name).write_bytes(package().read_bytes())
    machine.run(f"DEBIAN_FRONTEND=noninteractive apt-get install -y /host/{package().name}", 600)
    assert show(machine, "UnitFileState") == "enabled"
    until_online(machine)
    assert "(taken by alto)" not in machine.run("cat /boot/firmware/alto.yaml")
    machine.until("grep -q 'kitchen is online' /boot/firmware/alto.status.txt", 90, "word on the card")
    assert "ro" in machine.run("findmnt -no OPTIONS /boot/firmware").split(",")

    machine.run("DEBIAN_FRONTEND=noninteractive apt-get purge -y alto", 300)
    left = machine.run(f"{files} > /run/after; comm -13 /run/before /run/after").split()
    others: tuple[str, ...] = (
        "/var/lib/dpkg",
        "/var/lib/systemd",
        "/etc/systemd/system",
        "/var/backups",
        "/var/tmp/systemd-private",  # noqa: S108
    )
    others += ("/etc/.pwd.lock", "/etc/.updated", "/var/.updated")
    assert [path for path in left if "alto" in path or not path.startswith(others)] == []
    assert "alto" not in machine.run("getent passwd; getent group; systemctl list-unit-files")
    assert machine.run("ls /boot/firmware").split() == ["alto.yaml"]
    machine.switch_off()
