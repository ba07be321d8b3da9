"""A time-stamping authority of our own: a root, certificates good and bad, and `openssl ts` that signs with them.

`serve` is an HTTP server on the loopback that answers as a test says.
"""

from __future__ import annotations

import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

QUERY, REPLY = "application/timestamp-query", "application/timestamp-reply"
_DAY = timedelta(days=1)


def openssl(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["openssl", *arguments],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@dataclass
class Authority:
    """Files in `folder`: ca.pem, and NAME.pem with NAME.key for each certificate."""

    folder: Path
    name: str = "a root"

    def __post_init__(self) -> None:
        self.folder.mkdir(exist_ok=True)
        self._root = ec.generate_private_key(ec.SECP256R1())
        self._key = ec.generate_private_key(ec.SECP256R1())
        basic = x509.BasicConstraints(ca=True, path_length=None)
        root = self._certificate(self.name, self._root.public_key(), -10, 10, basic)
        self.ca = self._save("ca", root)
        stamping = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING])
        self.add("good", stamping)
        self.add("expired", stamping, last_day=-1)
        self.add("unfit", x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]))

    def add(self, name: str, usage: x509.ExtendedKeyUsage, last_day: int = 5) -> None:
        self._save(name, self._certificate(name, self._key.public_key(), -5, last_day, usage))
        self._write(
            f"{name}.key",
            self._key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ),
        )
        self._write(
            f"{name}.cnf",
            f"[tsa]\nserial = serial\nsigner_cert = {name}.pem\ncerts = ca.pem\nsigner_key = {name}.key\n"
            "signer_digest = sha256\ndefault_policy = 1.2.3.4.1\ndigests = sha256\naccuracy = secs:1\n".encode(),
        )

    def reply(self, query: bytes, signer: str = "good") -> bytes:
        """The response to a query; a refusal if openssl cannot sign it."""
        self._write("query", query)
        self._run(
            "ts", "-reply", "-config", f"{signer}.cnf", "-section", "tsa", "-queryfile", "query",
            "-out", "response",
        )  # fmt: skip
        return (self.folder / "response").read_bytes()

    def query(self, data: bytes, *options: str) -> bytes:
        self._write("data", data)
        self._run("ts", "-query", "-data", "data", "-cert", *options, "-out", "made.query")
        return (self.folder / "made.query").read_bytes()

    def signed_again(self, response: bytes, signer: str, days: int = 0) -> bytes:
        """A response as openssl ts would not sign it: by any certificate, and so many days later."""
        self._write("response", response)
        self._run("ts", "-reply", "-in", "response", "-token_out", "-out", "token")
        self._run("cms", "-verify", "-noverify", "-inform", "DER", "-in", "token", "-out", "content")
        time = f"{datetime.now(UTC) + days * _DAY:%Y%m%d%H%M%SZ}".encode()
        self._write("content", re.sub(rb"\d{14}Z", time, (self.folder / "content").read_bytes()))
        self._run(
            "cms", "-sign", "-binary", "-nodetach", "-in", "content", "-outform", "DER", "-out", "again",
            "-econtent_type", "1.2.840.113549.1.9.16.1.4", "-cades", "-md", "sha256",
            "-signer", f"{signer}.pem", "-inkey", f"{signer}.key",
        )  # fmt: skip
        token = (self.folder / "again").read_bytes()
        return _sequence(_sequence(b"\x02\x01\x00") + token)  # granted, and the token

    def _run(self, *arguments: str) -> None:
        made = openssl(self.folder, *arguments)
        assert made.returncode == 0, made.stderr

    def _certificate(
        self,
        subject: str,
        key: ec.EllipticCurvePublicKey,
        first_day: int,
        last_day: int,
        extension: x509.ExtensionType,
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(_name(subject))
            .issuer_name(_name(self.name))
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + first_day * _DAY)
            .not_valid_after(now + last_day * _DAY)
            .add_extension(extension, critical=True)
            .sign(self._root, hashes.SHA256())
        )

    def _save(self, name: str, certificate: x509.Certificate) -> Path:
        return self._write(f"{name}.pem", certificate.public_bytes(serialization.Encoding.PEM))

    def _write(self, name: str, data: bytes) -> Path:
        (self.folder / name).write_bytes(data)
        return self.folder / name


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _sequence(content: bytes) -> bytes:
    """A DER sequence of 256 to 65,535 bytes, or of fewer than 128."""
    length = len(content)
    return (b"\x30" + bytes([length]) if length < 128 else b"\x30\x82" + length.to_bytes(2, "big")) + content


@dataclass
class Served:
    """A server that was started: its URL, and what it was sent."""

    url: str
    requests: list[tuple[str, str, bytes]] = field(default_factory=list)  #: path, content type, body


Handler = Callable[[BaseHTTPRequestHandler, bytes], None]


def answers(body: bytes, status: int = 200, content_type: str = REPLY) -> Handler:
    """A handler that always answers alike."""

    def handle(request: BaseHTTPRequestHandler, _query: bytes) -> None:
        request.send_response(status)
        request.send_header("Content-Type", content_type)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    return handle


@contextmanager
def serve(handle: Handler) -> Iterator[Served]:
    """Serve POST requests by a function, each in a thread of its own."""
    served = Served("")

    class Requests(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            served.requests.append((self.path, self.headers["Content-Type"], body))
            try:
                handle(self, body)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True  # the client had enough

        def log_message(self, *_arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Requests) as server:
        served.url = f"http://127.0.0.1:{server.server_port}/tsr"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield served
        finally:
            server.shutdown()
            thread.join()
