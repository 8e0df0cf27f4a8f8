"""Example → Tokens: ids and loss mask, one encoding a row, all rows of a step in one call.

A control token that the template wrote is one id; every other text is ordinary text, also where it spells one. Both come
out of a single encoding by *stand-ins*: each control token of the tokenizer gets a twin, spelled in code points that no row
may hold, with the same habits towards white space around it; special tokens are switched off; the template's control
tokens are written as their twins, and the twins' ids are turned back. So the ids are those of the plain rendering, unless a
row spells a control token, and then they differ in that spelling alone.

A token is trained on when any character of it lies in a trained piece. (It matters only where a tokenizer joins characters
across a piece's border: the space before a first word belongs to that word's token, which the model has to say.) The first
token of an example is never trained on, since nothing predicts it. Pad ids play no part.
"""

from __future__ import annotations

from core.data.tokens.agreement import Verdict, find_difference, read_make
from core.data.tokens.encoder import TextEncoder, open_encoder
from core.data.tokens.fast import FastEncoder, open_fast_encoder
from core.data.tokens.opened import Reference
from core.data.tokens.rows import Encoded, RowEncoder, RowLeftOut

__all__ = ["Encoded", "FastEncoder", "Reference", "RowEncoder", "RowLeftOut", "TextEncoder", "Verdict", "find_difference",
           "open_encoder", "open_fast_encoder", "read_make"]
