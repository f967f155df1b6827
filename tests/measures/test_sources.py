"""What files a measure is made of, and what of a stopped pass is of other code."""

import functools
import importlib
import sys

import pytest

from zfjax.measures.choosing import BUILT_IN, find_measure
from zfjax.measures.protocol import Measure, Told
from zfjax.measures.sources import changed_sources, sources_of

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
