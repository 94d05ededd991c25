"""A configuration of Clara DICOM Adapter becomes one of ours, and a line for each thing it says
that ours does not.

Every value is looked at by the type of the key it goes to, and every AE Title, source and
destination by all rules of ours before it is taken in: what is left out is told, and what is taken
in is valid. Where Clara's default is not ours, the result says Clara's.
"""

from pathlib import Path

from adapter.clara.converted import Converted
from adapter.clara.forms import read
from adapter.clara.keys import carry_keys, why_not_carried
from adapter.clara.parties import carry_parties
from adapter.relations import relations


def convert(file: Path) -> Converted:
    """Return what a file of Clara's says, in our words.

    Raises:
        ConfigurationError: It cannot be read, or is no configuration of Clara's.
    """
    form, converted = read(file), Converted()
    carry_keys(form, converted)
    carry_parties(form, converted)
    for path in form.root.left():
        converted.lost(path, why_not_carried(path))
    if not form.is_yaml:
        what = "Clara's API was on port 5000 of every address; ours is on 127.0.0.1 until api.host"
        converted.note("api", f"{what} and api.auth say otherwise")
    converted.problems = relations(converted.settings())
    return converted
