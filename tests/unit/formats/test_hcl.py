"""The structure of HCL2, and text that has none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podvm_builder.errors import FormatError
from podvm_builder.formats.hcl import read_hcl

TEXT = """
# a comment { with
source "qemu" "podvm" {
  name = "x${join("}", [for a in b : "${a}"])}" // why
  many = [
    "a", # }
    "b",
  ]
  each = [for a in b : a]
  flag = true /* no */
  size = 4
  text = "$${no}"
  qemu_img_args {
    resize = ["-f"]
  }
}
"""


def test_blocks_labels_and_attributes() -> None:
    (block,) = read_hcl(TEXT).blocks
    assert (block.kind, block.labels, block.line) == ("source", ("qemu", "podvm"), 3)
    assert block.attributes["name"].text == '"x${join("}", [for a in b : "${a}"])}"'
    kinds = {name: attribute.kind for name, attribute in block.attributes.items()}
    assert kinds["many"] == "list" and kinds["each"] is None and kinds["size"] == "number"
    assert kinds["name"] == kinds["text"] == "string"
    assert block.attributes["many"].line == 5
    (inner,) = block.find("qemu_img_args")
    assert inner.attributes["resize"].text == '["-f"]'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("}", "closing brace"),
        ("a {", "not closed"),
        ("a", "neither an attribute nor a block"),
        ("a =\n", "an expression is expected"),
        ('a = "x\n"', "not closed"),
        ("a = [1\n", "not closed"),
        ("a = 1\na = 2\n", "set twice"),
        ("a = <<EOT\nEOT\n", "heredocs"),
        ("=", "a name is expected"),
        ("a {" * 100, "too deep"),
    ],
)
def test_what_is_no_template_is_refused(text: str, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        read_hcl(text)


@given(st.text(alphabet='a1="{}[]()$%\\#/*\n ,<'))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        read_hcl(text)
    except FormatError as error:
        assert error.offset is None or 0 <= error.offset <= len(text)
