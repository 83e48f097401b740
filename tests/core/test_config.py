"""The tasks file as values: what it refuses, how VOs override, what it makes of a policy."""

from dataclasses import dataclass

import msgspec
import pytest

from natsume import BaseTask, ExponentialBackoff, NoRetry
from natsume.actors.registry import Registry
from natsume.config.tasks_check import misfits
from natsume.config.tasks_file import TasksFileError, parse
from natsume.model.config import Applied, RetriesConfig, TaskConfig, TasksConfig
from natsume.runtime.overrides import Overrides, policy

WHOLE = b"""
vos: [lhcb, gridpp.ac.uk]
common:
  owners:Sync:
    retries: {max_retries: 3, base_delay_seconds: 5, max_delay_seconds: 60}
    limits: {timeout_s: 60}
  pilots:Submit:
    schedules:
      default: {every: 60}
      nightly: {cron: "0 6 * * *", timezone: Europe/Berlin, args: {element: ce1, limit: 5}}
vo-overrides:
  gridpp.ac.uk:
    pilots:Submit:
      enabled: false
      schedules:
        nightly: {every: 30, args: {limit: 9}}
        default: {enabled: false}
"""
WRONG = {
    "common: {a:B: {retries: {max_retris: 3}}}": "common.a:B.retries.max_retris is no key; did you mean max_retries",
    "comon: {}": "comon is no key; did you mean common",
    "[]": "the file is []; make it a mapping",
    "common: {a:B: 3}": "common.a:B is 3; make it a mapping",
    "common: {a:B: {enabled: maybe}}": "common.a:B.enabled is 'maybe'; expected bool",
    "common: {a:B: {limits: {timeout_s: 0}}}": "common.a:B.limits.timeout_s is 0; expected float > 0.0",
    "common: {a:B: {limits: {timeout_s: .nan}}}": "common.a:B.limits.timeout_s is nan; expected float > 0.0",
    "common: {a:B: {retries: {max_retries: -1}}}": "common.a:B.retries.max_retries is -1; expected int >= 0",
    "common: {a:B: {schedules: {x: {every: 0.5}}}}": "common.a:B.schedules.x.every is 0.5; expected float >= 1.0",
    "common: {a:B: {schedules: {x: {every: 1, cron: '* * * * *'}}}}": (
        "common.a:B.schedules.x has every and cron; keep one of them"
    ),
    "common: {a:B: {schedules: {x: {cron: '0 6 *'}}}}": (
        "common.a:B.schedules.x.cron is '0 6 *'; write 5 fields, or 6 with the seconds first"
    ),
    "common: {a:B: {schedules: {x: {cron: '0 6 * * *', timezone: Here}}}}": (
        "common.a:B.schedules.x.timezone is 'Here', which is no time zone; write one such as Europe/Berlin"
    ),
    "common: {on: {}}": "common.True is no name; put it in quotes",
    "common: {B: {}}": "common.B is no task; its key is group:Name",
    "vos: [lhcb]\nvo-overrides: {lhbc: {}}": "vo-overrides.lhbc is no VO of vos; did you mean lhcb",
}


@dataclass
class Submit(BaseTask):
    element: str
    limit: int = 1
    vo: str = ""

    async def execute(self):
        pass


@pytest.mark.parametrize(("text", "sentence"), WRONG.items())
def test_a_wrong_key_is_told_with_its_path(text, sentence):
    with pytest.raises(TasksFileError) as caught:
        parse(text.encode(), "tasks.yaml")
    assert caught.value.sentences == [f"tasks.yaml: {sentence}"]


@pytest.mark.parametrize(
    ("name", "text"),
    [("tasks.yaml", b"a: ["), ("tasks.yaml", b"a: 1\na: 2"), ("tasks.toml", b"= 1"), ("tasks.yaml", b"\xff\xfe\x00")],
)
def test_what_is_no_file_at_all_is_one_sentence(name, text):
    with pytest.raises(TasksFileError) as caught:
        parse(text, name)
    (sentence,) = caught.value.sentences
    assert sentence.startswith(f"{name}: it is not")
    assert "\n" not in sentence


def test_every_error_is_told():
    with pytest.raises(TasksFileError) as caught:
        parse(b"vos: 1\ncommon: {a:B: {x: 1, limits: {y: 2}}}", "tasks.yaml")
    assert len(caught.value.sentences) == 3


def test_toml_says_the_same_as_yaml():
    text = b'vos = ["a"]\n[common."a:B".schedules.day]\nevery = 60\nargs = {since = 2026-01-01}'
    schedule = parse(text, "tasks.toml").common["a:B"].schedules["day"]
    assert (schedule.every, schedule.args) == (60, {"since": "2026-01-01"})
    yaml = b"vos: [a]\ncommon: {a:B: {schedules: {day: {every: 60, args: {since: 2026-01-01}}}}}"
    assert parse(yaml, "tasks.yaml") == parse(text, "tasks.toml")


def test_an_override_wins_where_it_says_anything():
    config = parse(WHOLE, "tasks.yaml")
    common, own = config.for_task("pilots:Submit"), config.for_task("pilots:Submit", "gridpp.ac.uk")
    assert (common.enabled, own.enabled) == (None, False)
    assert config.for_task("pilots:Submit", "lhcb") == common
    nightly = own.schedules["nightly"]
    assert (nightly.timing, nightly.timezone) == ((30, None, None), None)
    assert nightly.args == {"element": "ce1", "limit": 9}
    assert (own.schedules["default"].every, own.schedules["default"].enabled) == (60, False)


def test_what_nobody_configured_is_as_the_class_says():
    assert TasksConfig().for_task("a:B", "vo") == TaskConfig()


def test_a_configuration_survives_the_bucket():
    applied = Applied(parse(WHOLE, "tasks.yaml"), "ada@host", 1.5, "h")
    assert msgspec.json.decode(msgspec.json.encode(applied), type=Applied) == applied


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("common: {pilots:Sumbit: {}}", "common.pilots:Sumbit is no task that is installed here; did you mean"),
        ("common: {pilots:Submit: {schedules: {x: {args: {elemnt: a}}}}}", "elemnt is no argument of pilots:Submit"),
        ("common: {pilots:Submit: {schedules: {x: {args: {element: 1}}}}}", "expected str, got int at $.element"),
        ("common: {pilots:Submit: {schedules: {x: {}}}}", "missing argument element"),
        ("common: {pilots:Submit: {schedules: {x: {args: {element: a}}}}}", None),
    ],
)
def test_tasks_and_arguments_are_those_of_the_actors(text, sentence):
    registry = Registry.of_classes({"pilots:Submit": Submit})
    found = list(misfits(parse(text.encode(), "tasks.yaml"), registry))
    assert len(found) == (sentence is not None)
    assert all(sentence in one for one in found)


def test_retries_change_what_they_name():
    own = ExponentialBackoff(base_delay_seconds=7, max_retries=2)
    assert policy(own, RetriesConfig(max_retries=9)) == ExponentialBackoff(7, 9)
    made = policy(NoRetry(), RetriesConfig(max_retries=1, max_delay_seconds=3))
    assert made == ExponentialBackoff(max_retries=1, max_delay_seconds=3)


def test_an_actor_runs_as_its_tenant_has_it():
    actor = Registry.of_classes({"pilots:Submit": Submit}).find("Submit")
    overrides = Overrides()
    assert overrides(actor, None) is actor
    config = parse(
        b"vos: [a]\ncommon: {pilots:Submit: {limits: {timeout_s: 5}}}\n"
        b"vo-overrides: {a: {pilots:Submit: {limits: {timeout_s: 9}}}}",
        "tasks.yaml",
    )
    overrides.take(Applied(config, "", 0, ""))
    assert [overrides(actor, tenant).timeout_s for tenant in (None, "a", "b")] == [5, 9, 5]
    assert overrides(actor, "a") is overrides(actor, "a")
    overrides.take(None)
    assert overrides(actor, "a") is actor
