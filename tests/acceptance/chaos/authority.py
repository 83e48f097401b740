"""Keys, certificates and tokens for a test, and what a server must be told to ask for them."""

import base64
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import nkeys

PASSWORD = "not-for-any-log-4711"
_UNLIMITED = {"subs": -1, "data": -1, "payload": -1}
_ACCOUNT = {"imports": -1, "exports": -1, "wildcards": True, "conn": -1, "leaf": -1}
_JETSTREAM = {"mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1}


class Secured(NamedTuple):
    """A server's configuration, a client's environment, and what no log may hold."""

    config: str
    environment: dict[str, str]
    secrets: list[str]


def password(_: Path) -> Secured:
    config = f'authorization {{ users: [{{ user: natsume, password: "{PASSWORD}" }}] }}'
    environment = {"NATSUME_NATS_USER": "natsume", "NATSUME_NATS_PASSWORD": PASSWORD}
    return Secured(config, environment, [PASSWORD])


def nkey(folder: Path) -> Secured:
    pair, seed = _pair(nkeys.PREFIX_BYTE_USER)
    file = folder / "user.nk"
    file.write_text(seed)
    config = f"authorization {{ users: [{{ nkey: {_public(pair)} }}] }}"
    return Secured(config, {"NATSUME_NATS_NKEY": str(file)}, [seed])


def credentials(folder: Path) -> Secured:
    operator, _ = _pair(nkeys.PREFIX_BYTE_OPERATOR)
    system, _ = _pair(nkeys.PREFIX_BYTE_ACCOUNT)
    account, _ = _pair(nkeys.PREFIX_BYTE_ACCOUNT)
    user, seed = _pair(nkeys.PREFIX_BYTE_USER)
    tokens = {
        _public(system): _token(operator, system, "account", limits=_UNLIMITED | _ACCOUNT),
        _public(account): _token(operator, account, "account", limits=_UNLIMITED | _ACCOUNT | _JETSTREAM),
    }
    preload = "\n".join(f'{key}: "{token}"' for key, token in tokens.items())
    config = f"""
        operator: "{_token(operator, operator, "operator")}"
        system_account: {_public(system)}
        resolver: MEMORY
        resolver_preload: {{ {preload} }}
    """
    token = _token(account, user, "user", **_UNLIMITED)
    file = folder / "user.creds"
    file.write_text(
        f"-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    )
    return Secured(config, {"NATSUME_NATS_CREDENTIALS": str(file)}, [seed, token])


def mutual_tls(folder: Path) -> Secured:
    """An authority of our own; the server shows a certificate and asks for one."""
    _openssl(folder, "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=Authority -keyout ca.key -out ca.pem")
    for name in ("server", "client"):
        (folder / f"{name}.ext").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
        _openssl(folder, f"req -newkey rsa:2048 -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr")
        _openssl(
            folder,
            f"x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 "
            f"-extfile {name}.ext -out {name}.pem",
        )
    files = {name: str(folder / name) for name in ("ca.pem", "server.pem", "server.key", "client.pem", "client.key")}
    config = (
        f'tls {{ cert_file: "{files["server.pem"]}", key_file: "{files["server.key"]}", '
        f'ca_file: "{files["ca.pem"]}", verify: true }}'
    )
    environment = {
        "NATSUME_NATS_TLS_CA": files["ca.pem"],
        "NATSUME_NATS_TLS_CERT": files["client.pem"],
        "NATSUME_NATS_TLS_KEY": files["client.key"],
    }
    secret = (folder / "client.key").read_text().splitlines()[1]
    return Secured(config, environment, [secret])


WAYS: dict[str, Callable[[Path], Secured]] = {
    "password": password,
    "nkey": nkey,
    "credentials": credentials,
    "mutual TLS": mutual_tls,
}


def _openssl(folder: Path, command: str) -> None:
    done = subprocess.run(["openssl", *command.split()], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def _pair(prefix: int) -> tuple[Any, str]:
    seed = nkeys.encode_seed(os.urandom(32), prefix)
    return nkeys.from_seed(bytearray(seed)), bytes(seed).decode()


def _public(pair: Any) -> str:
    return bytes(pair.public_key).decode()


def _token(issuer: Any, subject: Any, kind: str, **claims: Any) -> str:
    """A JWT as nats-server reads it."""
    body = {
        "jti": os.urandom(8).hex(),
        "iat": 1_700_000_000,
        "iss": _public(issuer),
        "sub": _public(subject),
        "name": kind,
        "nats": {"type": kind, "version": 2, **claims},
    }
    text = f"{_base64(json.dumps({'typ': 'JWT', 'alg': 'ed25519-nkey'}).encode())}.{_base64(json.dumps(body).encode())}"
    return f"{text}.{_base64(issuer.sign(text.encode()))}"


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
