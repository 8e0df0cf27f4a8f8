from __future__ import annotations

import pytest

from core.errors import InvalidValue
from core.models.names import check_base_name, checkpoint_name, parse_checkpoint_name, short_id, tuned_name


@pytest.mark.parametrize("name", ["tiny", "Qwen/Qwen3-0.6B", "a", "a" * 128, "org/model_v1.2"])
def test_usable_base_name(name: str):
    assert check_base_name(name) == name


@pytest.mark.parametrize("name", ["", "ft:tiny", "a:b", "../a", "a/../b", "a/./b", "a//b", "a/", "/a", "-a", "a b", "ä",
                                  "a" * 129, "a\n"])
def test_unusable_base_name_is_refused(name: str):
    with pytest.raises(InvalidValue, match="is not usable"):
        check_base_name(name)


def test_name_of_a_checkpoint_leads_to_model_and_step():
    model = tuned_name(base="Qwen/Qwen3-0.6B", organization_id="org-1", suffix=None, job_id="ftjob-abcdefghijklmn")
    assert model == "ft:Qwen/Qwen3-0.6B:org-1::abcdefgh"
    named = parse_checkpoint_name(checkpoint_name(model, 12))
    assert named is not None
    assert (named.model, named.step) == (model, 12)


def test_name_of_a_model_is_no_checkpoint_s():
    assert parse_checkpoint_name("ft:tiny:org-1::abcdefgh") is None
    assert parse_checkpoint_name("tiny:ckpt-step-3") is None


def test_short_id_is_letters_and_digits():
    assert short_id("ftjob-Ab3dEf9hZZZZ") == "Ab3dEf9h"
