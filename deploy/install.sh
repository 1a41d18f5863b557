#!/bin/sh
# Install alto on a running Raspberry Pi OS or Debian (12 or 13, 64-bit), or take it away again:
#
#   sudo ./install.sh [alto_…_arm64.deb]    the package that lies beside this file, unless you name one
#   sudo ./install.sh --uninstall           program away, alto.yaml and what it remembers stay
#   sudo ./install.sh --uninstall --purge   all of it away
set -eu

here=$(cd "$(dirname "$0")" && pwd)
apt="apt-get --yes --no-install-recommends"
export DEBIAN_FRONTEND=noninteractive

main() {
    case "${1:-}" in
        -h | --help) sed -n '2,6s/^# \{0,1\}//p' "$0" ;;
        --uninstall) as_root "$@" && uninstall "${2:-}" ;;
        -*) sed -n '2,6s/^# \{0,1\}//p' "$0" >&2 && exit 64 ;;
        *) as_root "$@" && install_package "${1:-}" ;;
    esac
}

as_root() {
    [ "$(id -u)" = 0 ] || fail "this needs root; run: sudo $0 $*" 77
    command -v apt-get >/dev/null || fail "this system has no apt: alto's package is for Raspberry Pi OS and Debian" 69
}

install_package() { # [FILE]
    package=$(find_package "$1")
    # Lists of packages may be missing or old: then a second try with fresh ones.
    $apt install "$package" alsa-utils || { apt-get update && $apt install "$package" alsa-utils; }
    say "alto is installed and runs. Next:"
    if [ -d /boot/firmware ]; then
        say "  put alto.yaml on the boot partition of the card, or write it here: sudo alto-card edit"
    else
        say "  write /etc/alto/alto.yaml (an example: /usr/share/doc/alto/alto.yaml), then: sudo systemctl restart alto"
    fi
    say "  how it is doing: sudo alto status     what is wrong: sudo alto doctor     its log: journalctl -t alto -o cat"
}

find_package() { # [FILE]: its absolute path
    if [ -n "$1" ]; then
        [ -f "$1" ] || fail "no such file: $1" 66
        readlink -f "$1"
        return
    fi
    machine=$(dpkg --print-architecture)
    case $machine in
        arm64 | amd64) ;;
        *) fail "alto needs a 64-bit system, this one is $machine: flash Raspberry Pi OS Lite (64-bit)" 69 ;;
    esac
    newest=
    for file in "$here"/alto_*_"$machine".deb "$here"/../dist/alto_*_"$machine".deb /boot/firmware/alto_*_"$machine".deb; do
        if [ -f "$file" ] && { [ -z "$newest" ] || dpkg --compare-versions "$(version "$file")" gt "$(version "$newest")"; }; then
            newest=$file
        fi
    done
    [ -n "$newest" ] || fail "no alto_…_$machine.deb beside this file; name one" 66
    readlink -f "$newest"
}

version() { dpkg-deb --field "$1" Version; }

uninstall() { # [--purge]
    if [ "$1" = --purge ]; then
        $apt purge alto
        say "alto is gone, with its configuration and what it remembered. alto.yaml on the card is yours."
    else
        $apt remove alto
        say "alto is gone; its configuration and what it remembered are still there. With --purge they go too."
    fi
}

say() { echo "$1"; }

fail() { # MESSAGE CODE
    echo "install.sh: $1" >&2
    exit "$2"
}

main "$@"
