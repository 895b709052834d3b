"""The line of every key, found without a second grammar."""

from __future__ import annotations

from understudy.configuration.files import lines

TEXT = '''# a comment
top = 1

[server]   # here
port = 1
"host" = "x"
text = """
[not.a.table]
key = 1
"""
raw = \'\'\'
a = ]
\'\'\'
origins = [
    "a", # ]
    "b",
]
dotted.inner.key = { a = 1, b = { c = 2 } }

[[workflows.w.steps]]
name = "a"

[[workflows.w.steps]]
name = "b"
[workflows.w.steps.more]
x = 1
[[workflows.w.steps.parts]]
y = 1
[a."quoted.key"]
z = 1
'''


def test_the_line_of_every_key():
    assert lines(TEXT) == {
        ("top",): 2,
        ("server",): 4,
        ("server", "port"): 5,
        ("server", "host"): 6,
        ("server", "text"): 7,
        ("server", "raw"): 11,
        ("server", "origins"): 14,
        ("server", "dotted"): 18,
        ("server", "dotted", "inner"): 18,
        ("server", "dotted", "inner", "key"): 18,
        ("server", "dotted", "inner", "key", "a"): 18,
        ("server", "dotted", "inner", "key", "b"): 18,
        ("server", "dotted", "inner", "key", "b", "c"): 18,
        ("workflows",): 20,
        ("workflows", "w"): 20,
        ("workflows", "w", "steps"): 20,
        ("workflows", "w", "steps", 0): 20,
        ("workflows", "w", "steps", 0, "name"): 21,
        ("workflows", "w", "steps", 1): 23,
        ("workflows", "w", "steps", 1, "name"): 24,
        ("workflows", "w", "steps", 1, "more"): 25,
        ("workflows", "w", "steps", 1, "more", "x"): 26,
        ("workflows", "w", "steps", 1, "parts"): 27,
        ("workflows", "w", "steps", 1, "parts", 0): 27,
        ("workflows", "w", "steps", 1, "parts", 0, "y"): 28,
        ("a",): 29,
        ("a", "quoted.key"): 29,
        ("a", "quoted.key", "z"): 30,
    }


def test_an_empty_file_has_no_keys():
    assert lines("") == {}
