"""Who runs this command, and why: what is kept with every change that a person makes by hand."""

import getpass
import os
import socket
from typing import Annotated

import typer

from natsume.exceptions import UsageError
from natsume.model.limits import WHY_MAX

Why = Annotated[str, typer.Option(metavar="TEXT", help="The reason; kept with who does it, and when.")]

MaybeWhy = Annotated[str | None, typer.Option("--why", metavar="TEXT", help="The reason; kept with who and when.")]

AnyActor = Annotated[bool, typer.Option("--any-actor", help="Do not compare it with what is installed here.")]


def who() -> str:
    """The user and the machine of this process."""
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (OSError, KeyError):  # in a container a user may have no name
        return f"{os.getuid()}@{socket.gethostname()}"


def reason(why: str | None) -> str:
    """A reason that says something, empty where none is given; raises UsageError."""
    if why is None:
        return ""
    text = " ".join(why.split())
    if not 0 < len(text) <= WHY_MAX:
        raise UsageError(f"--why has {len(text)} characters; give a reason of 1 to {WHY_MAX}")
    return text
