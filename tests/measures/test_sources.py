"""What files a measure is made of, and what of a stopped pass is of other code."""

import functools
import importlib
import json
import sys
from dataclasses import asdict, dataclass
from types import SimpleNamespace

import pytest

from zfjax.errors import ZfjaxError
from zfjax.measures.boarding import is_measured_as
from zfjax.measures.choosing import BUILT_IN, find_measure
from zfjax.measures.planning import Chosen
from zfjax.measures.protocol import Measure, Told
from zfjax.measures.sources import changed_sources, is_ours, sources_of

FILES = {
    "whole/__init__.py": "",
    "whole/own.py": "import functools, json\nfrom . import near\nfrom .under import deep\n"
    "import beside, zfjax.errors\nfrom zfjax.measures.protocol import Told\n"
    "def rows(looked, options):\n    import late\n    return []\n"
    "def tell(*seen):\n    return Told('')\n",
    "whole/near.py": "from whole.under.deep import x as y\nimport whole.own\n",
    "whole/under/__init__.py": "from ..far import *\n",
    "whole/under/deep.py": "x = 1\n",
    "whole/far.py": "",
    "beside.py": "",
    "late.py": "this is no Python",
    "unused.py": "",
    "whole/unused.py": "",
}


@pytest.fixture
def own(tmp_path, monkeypatch):
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module("whole.own")
    for name in {name.removesuffix(".py").replace("/", ".") for name in FILES}:
        sys.modules.pop(name.removesuffix(".__init__"), None)


def test_all_that_it_imports_of_its_own_folder_is_its_source(own, tmp_path):
    measure = Measure("mine", functools.partial(own.rows), own.tell)
    before = sources_of(measure)
    assert list(before) == [
        *("beside", "late", "whole", "whole.far", "whole.near", "whole.own"),
        *("whole.under", "whole.under.deep"),
    ]
    assert changed_sources(before, sources_of(measure)) == []
    (tmp_path / "late.py").write_text("this is no Python either")
    (tmp_path / "unused.py").write_text("x = 2")
    assert changed_sources(before, sources_of(measure)) == ["late"]
    (tmp_path / "beside.py").unlink()
    assert changed_sources(before, sources_of(measure)) == ["beside", "late"]


def test_ours_have_none_nor_has_what_no_file_defines():
    assert not any(sources_of(find_measure(name)) for name in BUILT_IN)
    names = {"Told": Told, "__name__": "nowhere"}
    exec("def rows(*seen): return []\ndef tell(*seen): return Told('')", names)
    assert sources_of(Measure("mine", names["rows"], names["tell"])) == {}
    assert changed_sources({}, {"a": "b"}) == []


@dataclass(frozen=True)
class Later:
    """Options, of which ``more`` came after the measure was made."""

    one: int = 1
    more: int = 2


def nothing(looked, options):
    return ()


@pytest.mark.parametrize(
    ("module", "sources", "stands"),
    [("zfjax.measures.census", {}, True), ("nowhere", {}, False), ("nowhere", {"own": "0"}, None)],
)
def test_an_option_that_came_later(tmp_path, monkeypatch, module, sources, stands):
    """Of ours it stood at its default; of code that changed all is made anew; of code without a
    file nobody knows what was done before.
    """
    monkeypatch.setattr(nothing, "__module__", module)
    monkeypatch.setattr(Later, "__module__", module)
    measure = Measure("own", nothing, lambda *seen: Told(""), options=Later())
    monkeypatch.setattr(measure.tell, "__module__", module)
    record = {"steps": [1], "epochs": [1.0], "layers": [], "asked": {"options": {"one": 1}}}
    (tmp_path / "own.json").write_text(json.dumps({**record, "sources": sources}))
    plan = SimpleNamespace(asked=lambda chosen: {"options": asdict(chosen.options)})
    assert is_ours(measure) == module.startswith("zfjax.")
    if stands is False:
        with pytest.raises(ZfjaxError, match=r"other settings \(options\)"):
            is_measured_as(plan, Chosen(measure, Later()), tmp_path)
    else:
        assert is_measured_as(plan, Chosen(measure, Later()), tmp_path) == bool(stands)
    with pytest.raises(ZfjaxError, match=r"other settings \(options\)"):
        is_measured_as(plan, Chosen(measure, Later(more=3)), tmp_path)
