"""Members of PEFT's ``PeftType`` enum that it lacks; PEFT refuses to register a tuner whose type is not a member."""

from peft.utils.peft_types import PeftType


def peft_type(name: str) -> PeftType:
    """Return the member ``name`` (in capitals), adding it where it is missing.

    An enum cannot be extended by inheritance once it has members, so the member is entered in the tables that
    look-up by name (``PeftType["IAA"]``), by value (``PeftType("IAA")``) and iteration read.
    """
    if name in PeftType.__members__:
        return PeftType[name]
    member = str.__new__(PeftType, name)
    member._name_ = name
    member._value_ = name
    member.__objclass__ = PeftType
    member._sort_order_ = len(PeftType._member_names_)
    PeftType._member_names_.append(name)
    PeftType._member_map_[name] = member
    PeftType._value2member_map_[name] = member
    type.__setattr__(PeftType, name, member)
    return member


IAA = peft_type("IAA")
BITFIT = peft_type("BITFIT")
