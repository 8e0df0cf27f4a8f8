"""A template is proven when contents only flow into its output; anything else that it does with them is noticed."""

from __future__ import annotations

import pytest

from core.data.templates.environment import parse_template
from core.data.templates.proof import writes_contents_only

PROVEN = (
    "{% for m in messages %}{{ m.role + ': ' + m.content }}{% endfor %}",
    "{% for m in messages %}{{ m['content'] | trim }}{{ m.content.strip() ~ eos_token }}{% endfor %}",
    "{% for m in messages %}{% if m.content is string %}{{ m.content }}{% else %}{{ m.content[0].a }}{% endif %}{% endfor %}",
    "{% for m in messages %}{% set c = m.content %}{{ c if c is string else c | length }}{% endfor %}",
    "{% if tools %}{{ messages | tojson }}{% endif %}{% for m in messages %}{{ m.content }}{% endfor %}",
    "{% for m in messages %}{% if m.tool_calls is defined and m.tool_calls %}{{ m | tojson }}{% endif %}{{ m.get('content') }}"
    "{% endfor %}",
    "{% set ns = namespace(s='') %}{% for m in messages %}{% if m.role == 'system' %}{% set ns.s = m.content %}{% endif %}"
    "{% endfor %}{{ ns.s }}",
    "{% if messages[0].role == 'system' %}{% set turns = messages[1:] %}{% else %}{% set turns = messages %}{% endif %}"
    "{% for m in turns %}{{ m.content }}{% if loop.last %}{{ loop.index0 % 2 }}{% endif %}{% endfor %}",
    "{% set first = messages[0].content if messages[0].role == 'system' else 'You are kind.' %}{{ first }}",
    "{% for m in messages %}{% if m.content != none %}{{ m.content }}{% endif %}{% endfor %}",
    "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}",
)
NOT_PROVEN = (
    "{{ messages[0].content[:3] }}",
    "{{ messages[0].content | length }}",
    "{{ messages[0].content | upper }}",
    "{{ messages[0].content | trim('x') }}",
    "{{ messages[0].content.strip('x') }}",
    "{{ messages[0].content * 2 }}",
    "{{ '%s' % messages[0].content }}",
    "{{ '{}'.format(messages[0].content) }}",
    "{{ messages[0]['con' ~ 'tent'] | length }}",
    "{{ messages }}",
    "{{ messages[0] }}",
    "{{ messages[0].items() }}",
    "{{ messages | tojson }}",
    "{{ messages | map(attribute='content') | join }}",
    "{{ [messages[0].content] | join }}",
    "{{ {'a': messages[0].content} }}",
    "{{ 'a' if messages[0].content < 'b' else 'c' }}",
    "{% if messages[0] == messages[1] %}x{% endif %}",
    "{% if messages[0].content is in ['a'] %}x{% endif %}",
    "{% for c in messages[0].content %}{{ c }}{% endfor %}",
    "{% for k in messages[0] %}{{ k }}{% endfor %}",
    "{% for m in messages %}{% if m.content == 'x' %}a{% endif %}{% endfor %}",
    "{% for m in messages %}{% if 'x' in m.content %}a{% endif %}{% endfor %}",
    "{% for m in messages if m.content == 'x' %}{{ m.role }}{% endfor %}",
    "{% for m in messages | sort(attribute='content') %}{{ m.role }}{% endfor %}",
    "{% for m in messages %}{{ m.content.split('x')[0] }}{% endfor %}",
    "{% for m in messages %}{{ loop.previtem.content | length }}{% endfor %}",
    "{% for m in messages %}{{ loop.changed(m.content) }}{% endfor %}",
    "{% macro f(x) %}{{ x | length }}{% endmacro %}{{ f(messages[0].content) }}",
    "{% filter upper %}{{ messages[0].content }}{% endfilter %}",
    "{% set ns = namespace(a='') %}{% for m in messages %}{{ ns.a == 'x' }}{% set ns.a = m.content %}{% endfor %}",
    "{% set ns = namespace(a='') %}{% set ns.a = messages[0].content %}{{ ns }}",
    "{% if x %}{% set y = messages[0].content %}{% endif %}{% if y %}{% else %}{{ messages[0].content | length }}{% endif %}",
    "{% for m in messages %}{% set y = m.content %}{% endfor %}{% if not y %}{{ messages[0].content | length }}{% endif %}",
    "{% set c %}{{ messages[0].content }}{% endset %}{{ c | length }}",
)


@pytest.mark.parametrize("source", PROVEN)
def test_a_template_that_only_writes_contents_is_proven(source: str) -> None:
    assert writes_contents_only(parse_template(source))


@pytest.mark.parametrize("source", NOT_PROVEN)
def test_a_template_that_looks_into_contents_is_not(source: str) -> None:
    assert not writes_contents_only(parse_template(source))
