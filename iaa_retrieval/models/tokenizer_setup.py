"""What a tokenizer lacks for a retriever: a padding token, or the token at the end of every text."""

from __future__ import annotations

import json
from typing import Any

from iaa_retrieval.errors import IaaRetrievalError, UsageError

_FLAGS = ("add_bos_token", "add_eos_token")  # with one of them, a tokenizer makes its rule anew when it is loaded


def give_padding_token(tokenizer: Any) -> None:
    """Pad with the end-of-text token where there is no other; the attention mask says which tokens are padding."""
    if tokenizer.pad_token is None and tokenizer.eos_token is not None:
        tokenizer.pad_token = tokenizer.eos_token


def ending_of(tokenizer: Any) -> str:
    """The token with which a tokenizer ends every text by itself; empty where a text ends in its own last token."""
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    whole = tokenizer("a")["input_ids"]
    ended = bool(bare) and len(whole) > len(bare) and whole[-len(bare) :] != bare
    return str(tokenizer.convert_ids_to_tokens(whole[-1])) if ended else ""


def append_eos(tokenizer: Any, name: str) -> str:
    """Have a tokenizer end every text with its end-of-text token.

    Args:
        tokenizer: changed in place.
        name: whose it is, for messages.

    Returns:
        The token; empty where the tokenizer did so already.

    Raises:
        UsageError: it has no such token, or ends texts with another one.
    """
    token, ending = tokenizer.eos_token, ending_of(tokenizer)
    if token is None:
        raise UsageError(f"the tokenizer of {name} has no end-of-text token that could be appended")
    if ending == token:
        return ""
    if ending:
        raise UsageError(f"the tokenizer of {name} ends every text with {ending}, after which no {token} is appended")
    append_token(tokenizer, str(token), name)
    return str(token)


def append_token(tokenizer: Any, token: str, name: str) -> None:
    """Have a tokenizer end every text with ``token``, unless it does so already. Truncation leaves the token last.

    Raises:
        IaaRetrievalError: it has no such token, or a rule for its special tokens that takes no further one.
    """
    if ending_of(tokenizer) == token:
        return
    number = tokenizer.get_vocab().get(token)
    if number is None:
        raise IaaRetrievalError(f"the tokenizer of {name} has no token {token}, with which every text shall end")
    if token == tokenizer.eos_token and any(flag in tokenizer.init_kwargs for flag in _FLAGS):
        tokenizer.init_kwargs["add_eos_token"] = True  # is saved
        tokenizer.add_eos_token = True
    else:
        backend = tokenizer.backend_tokenizer
        rule = backend.post_processor
        backend.post_processor = _rule(_with_ending(json.loads(rule.__getstate__()) if rule else None, token, number))
    if ending_of(tokenizer) != token:
        raise IaaRetrievalError(f"the tokenizer of {name} cannot be made to end every text with {token}")


def _with_ending(rule: dict[str, Any] | None, token: str, number: int) -> dict[str, Any]:
    """A rule for special tokens, as tokenizers writes it, with one more token after every text."""
    if rule is None:
        rule = _TEMPLATE
    elif rule["type"] == "Sequence":
        parts = [_with_ending(p, token, number) if p["type"] == "TemplateProcessing" else p for p in rule["processors"]]
        if parts == rule["processors"]:
            parts.append(_with_ending(None, token, number))
        return {**rule, "processors": parts}
    elif rule["type"] != "TemplateProcessing":
        return {"type": "Sequence", "processors": [rule, _with_ending(None, token, number)]}
    pieces = {form: [p for piece in rule[form] for p in _ended(piece, token)] for form in ("single", "pair")}
    return {
        **rule,
        **pieces,
        "special_tokens": {**rule["special_tokens"], token: {"id": token, "ids": [number], "tokens": [token]}},
    }


def _ended(piece: dict[str, Any], token: str) -> list[dict[str, Any]]:
    text = piece.get("Sequence")
    return [piece] if text is None else [piece, {"SpecialToken": {"id": token, "type_id": text["type_id"]}}]


_A, _B = ({"Sequence": {"id": name, "type_id": number}} for number, name in enumerate("AB"))
_TEMPLATE: dict[str, Any] = {
    "type": "TemplateProcessing",
    "single": [_A],
    "pair": [_A, _B],
    "special_tokens": {},
}


def _rule(values: dict[str, Any]) -> Any:
    """The object of a rule; tokenizers only reads one inside a whole tokenizer."""
    from tokenizers import Tokenizer

    model = {"type": "WordLevel", "vocab": {}, "unk_token": ""}
    return Tokenizer.from_str(json.dumps({"version": "1.0", "model": model, "post_processor": values})).post_processor
