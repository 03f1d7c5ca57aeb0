"""A service that logs somebody on by PAM, with the configuration of a directory of its own.

``python pam_client.py DIRECTORY SERVICE USER ANSWER...`` prints what came of it, as JSON.
"""

import ctypes
import json
import sys
from typing import Any

PROMPTS = (1, 2)
"""PAM_PROMPT_ECHO_OFF and _ON."""
ESTABLISH_CRED = 2


class Message(ctypes.Structure):
    _fields_ = [("style", ctypes.c_int), ("text", ctypes.c_char_p)]


class Response(ctypes.Structure):
    _fields_ = [("text", ctypes.c_void_p), ("unused", ctypes.c_int)]


CONVERSE = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.c_int,
    ctypes.POINTER(ctypes.POINTER(Message)),
    ctypes.POINTER(ctypes.POINTER(Response)),
    ctypes.c_void_p,
)


class Conversation(ctypes.Structure):
    _fields_ = [("converse", CONVERSE), ("data", ctypes.c_void_p)]


def log_on(directory: str, service: str, user: str, answers: list[str]) -> dict[str, Any]:
    """PAM's results by function, and what the person was told and asked."""
    pam, libc = ctypes.CDLL("libpam.so.0"), ctypes.CDLL(None)
    libc.calloc.restype = libc.strdup.restype = ctypes.c_void_p
    told: list[str] = []
    asked: list[str] = []

    @CONVERSE
    def converse(count: int, messages: Any, responses: Any, data: Any) -> int:
        room = libc.calloc(count, ctypes.sizeof(Response))
        given = ctypes.cast(room, ctypes.POINTER(Response))
        for at in range(count):
            message = messages[at].contents
            text = message.text.decode()
            if message.style in PROMPTS:
                asked.append(text)
                given[at].text = libc.strdup(answers[len(asked) - 1].encode())
            else:
                told.append(text)
        responses[0] = given
        return 0

    conversation, handle = Conversation(converse, None), ctypes.c_void_p()
    started = pam.pam_start_confdir(
        service.encode(),
        user.encode(),
        ctypes.byref(conversation),
        directory.encode(),
        ctypes.byref(handle),
    )
    assert started == 0, started
    result = pam.pam_authenticate(handle, 0)
    granted = pam.pam_setcred(handle, ESTABLISH_CRED)
    pam.pam_end(handle, result)
    return {"authenticate": result, "setcred": granted, "asked": len(asked), "told": told}


if __name__ == "__main__":
    where, called, who, *typed = sys.argv[1:]
    print(json.dumps(log_on(where, called, who, typed)))
