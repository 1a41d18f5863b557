"""A certificate authority of the test's own, that nobody trusts unless told to."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path
from typing import Final

SUBJECTS: Final = "subjectAltName=IP:127.0.0.1,DNS:localhost"
NEW_KEY: Final = ("-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")


class Authority:
    """Keeps its files in `directory`, a fresh folder. Needs the command openssl."""

    def __init__(self, directory: Path) -> None:
        self._directory: Final = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.certificate: Final = directory / "ca.pem"
        """What a client must trust, as $SSL_CERT_FILE."""
        self._key: Final = directory / "ca.key"
        _openssl("-subj", "/CN=authority of a test", "-keyout", self._key, "-out", self.certificate)

    def server(self) -> ssl.SSLContext:
        """For a server on 127.0.0.1, with a certificate that this authority signed."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.certify(context)
        return context

    def certify(self, server: ssl.SSLContext) -> None:
        """From now on the server shows a certificate that this authority signed, whoever signed the one before."""
        key, certificate = self._directory / "server.key", self._directory / "server.pem"
        signed_by = ("-CA", self.certificate, "-CAkey", self._key)
        extensions = ("-addext", SUBJECTS, "-addext", "basicConstraints=critical,CA:FALSE")
        _openssl("-subj", "/CN=server of a test", "-keyout", key, "-out", certificate, *signed_by, *extensions)
        server.load_cert_chain(certificate, key)


def _openssl(*words: str | Path) -> None:
    done = subprocess.run(["openssl", "req", *NEW_KEY, *map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"openssl: {done.stderr.strip()}"
