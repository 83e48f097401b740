"""The page of the commands is the one that the commands make, and names each of them."""

import re
from importlib import import_module

import commands_page
from typer.core import TyperGroup
from typer.main import get_command

from natsume.cli.main import COMMANDS


def _all_commands() -> set[str]:
    found = set()
    for name in COMMANDS:
        command = get_command(import_module(f"natsume.cli.{name}").app)
        found |= {f"{name} {key}" for key in command.commands} if isinstance(command, TyperGroup) else {name}
    return found


def test_the_page_is_as_the_commands_say():
    assert commands_page.PAGE.read_text() == commands_page.rendered(), "run: python tests/docs/commands_page.py"


def test_each_command_is_named_and_each_name_is_a_command():
    named = {
        re.sub(r" \[?(?=[A-Z]).*", "", title)
        for title in re.findall(r"^## `natsume ([^`]+)`", commands_page.rendered(), re.MULTILINE)
    }
    assert named == _all_commands()
