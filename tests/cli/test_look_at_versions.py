from __future__ import annotations

import pytest
from packaging.requirements import Requirement

from cli.look_at_versions import demands, look_at_python, look_at_training, misfits, read_cuda


def test_what_is_installed_for_these_tests_is_what_the_release_asks_for() -> None:
    assert look_at_python().verdict == "ok"
    training = look_at_training()
    assert training.verdict == "ok"
    assert "torch" in training.says
    assert "peft" in training.says


def test_demands_of_training_are_apart_from_those_of_every_part() -> None:
    train, every = ({each.name for each in demands(extra)} for extra in ("train", ""))
    assert {"torch", "transformers", "peft"} <= train
    assert {"fastapi", "redis"} <= every
    assert not train & every


@pytest.mark.parametrize(("asked", "words"), [
    ("packaging>=999", "this release needs >=999"), ("packaging<1", "this release needs <1"),
    ("no-such-package-here>=2", "no-such-package-here is not installed, this release needs >=2")])
def test_packages_of_another_version_are_told_with_what_is_needed(asked: str, words: str) -> None:
    assert [words in told for told in misfits([Requirement(asked)])] == [True]
    assert list(misfits([Requirement("packaging>=1")])) == []


@pytest.mark.parametrize(("source", "cuda"), [
    ("__version__ = '2.13.0+cpu'\ncuda: Optional[str] = None\nhip: Optional[str] = None\n", None),
    ("__version__ = '2.13.0'\ncuda: Optional[str] = '13.0'\n", "13.0"), ("cuda = '12.8'\n", "12.8")])
def test_a_build_of_torch_tells_its_cuda_without_being_imported(source: str, cuda: str | None) -> None:
    assert read_cuda(source) == cuda
