"""Every limit on what comes from outside, each with its reason.

A length, count or depth that another process chooses is compared with a name from this file
before anything is allocated for it. Exceeding one is ``KEYISO_E_LIMIT`` or the CNG status that
the function documents, and the message names the limit.
"""

from typing import Final

# --- frames (wire) -------------------------------------------------------------------------

FRAME_HEADER_BYTES: Final = 4
"""A frame begins with its length: u32, little-endian, without these four bytes."""

CONTROL_FRAME_BYTES: Final = 0x100000 + 0x10000
"""1 MiB + 64 KiB: a property value may be 0x100000 bytes, and its frame has a header."""

KEY_FRAME_BYTES: Final = 0x10000
"""64 KiB: digests, signatures and short messages; nothing else travels on a key channel."""

READ_BYTES: Final = 0x10000
"""One read from a socket; larger frames take several, so no peer costs more at a time."""

SEND_BUFFER_BYTES: Final = 4 * CONTROL_FRAME_BYTES
"""What a server holds for a peer that does not read; above it the peer is dropped."""

SEND_PAUSE_BYTES: Final = 0x40000
"""Above this much unsent data a server stops reading more requests from the same peer."""

HOPS: Final = 16
"""Processes on the way of one request. The longest real chain (a PIN logon) has six."""

HOP_TEXT_BYTES: Final = 128
"""A service's or a function's name in a hop."""

SPANS: Final = 32
"""What an answer tells of the processes that worked on it: a call asks each of two levels' workers
once or twice. A thousand bytes or two; a frame has room for 4 KiB beside the longest result."""

ERROR_CHARACTERS: Final = 4096
"""The cause, or the action, of an error that is sent."""

TRACEPARENT_BYTES: Final = 55
"""The length of a W3C traceparent of version 00."""

DESCRIPTORS_PER_MESSAGE: Final = 4
"""A key channel is handed over with one descriptor; the rest is room for a later version."""

# --- names and properties (ncrypt.h, and the file system limit MAX_PATH that CNG documents) -----

NAME_UNITS: Final = 260
"""UTF-16 units in a key's name, as the Microsoft software provider documents (MAX_PATH)."""

ALGORITHM_NAME_UNITS: Final = 512
"""NCRYPT_MAX_ALG_ID_LENGTH."""

PROPERTY_NAME_UNITS: Final = 64
"""NCRYPT_MAX_PROPERTY_NAME."""

PROPERTY_BYTES: Final = 0x100000
"""NCRYPT_MAX_PROPERTY_DATA."""

HANDLE_PROPERTY_BYTES: Final = 4096
"""A window's handle, or the text that says what a key is used for."""

PROPERTIES_PER_KEY: Final = 64
"""Stored properties of one key: programs keep a certificate chain and a few notes there."""

PROPERTY_BYTES_PER_KEY: Final = 4 * PROPERTY_BYTES
"""Their values together, so that a key's properties fit into memory."""

PROPERTY_BYTES_PER_USER: Final = 256 * PROPERTY_BYTES
"""256 MiB: the store is for keys, and its disk is everybody's."""

NEW_KEY_PROPERTY_BYTES: Final = 0x80000
"""512 KiB of property values that come in one frame with the request that makes their key;
larger ones are set when it is there."""

PROVIDER_NAME_UNITS: Final = 260
"""Providers are registered under names of the same kind as keys."""

# --- keys --------------------------------------------------------------------------------------

PASSWORD_BYTES: Final = 1023
"""What `cryptography` takes as the password of a PKCS #8 key."""

PASSWORD_ITERATIONS: Final = 5_000_000
"""Rounds that a PKCS #8 key may ask for each try of its password: some seconds of PBKDF2, a quarter
of a minute with the oldest schemes. OWASP's advice of 2023 is 1,300,000 at the most."""

PASSWORD_SCRYPT_BYTES: Final = 256 * 1024 * 1024
"""The same for scrypt, as 128 N r p: sixteen times what OpenSSL writes."""

PRIVATE_KEY_BYTES: Final = 16 * 1024
"""A PKCS #8 private key: RSA-16384, the longest that CNG knows, takes 9.5 KiB."""

KEY_HEADER_BYTES: Final = 32 * 1024
"""The authenticated header of a key blob: a public key, two names and an access list."""

KEY_BLOB_BYTES: Final = KEY_HEADER_BYTES + PRIVATE_KEY_BYTES + 64
"""A sealed key: header, ciphertext, and the version, length, nonce and tag around them."""

ACCESS_ENTRIES: Final = 64
"""Entries in a key's access list."""

DIGEST_BYTES: Final = 64
"""The longest hash that can be signed (SHA-512)."""

MESSAGE_BYTES: Final = 0xF000
"""60 KiB: a message that goes to a worker whole, in one frame of a key channel."""

SALT_BYTES: Final = 2048
"""The salt of RSA-PSS cannot be longer than the longest modulus."""

DERIVED_KEY_BYTES: Final = 16 * 1024
"""What a key derivation gives at most: 255 times the longest hash, HKDF's own limit."""

OAEP_LABEL_BYTES: Final = 4096
"""Labels are names; they travel with each decryption."""

BOUND_PROCESSES: Final = 512
"""Processes in an answer that says who is bound: about 670 KiB with the longest names, and channels
to sixteen workers each."""

ENUMERATION_PAGE: Final = 256
"""Names in one answer to an enumeration: about 140 KiB at the longest names."""

# --- Passport ----------------------------------------------------------------------------------

PIN_CHARACTERS: Final = 127
"""The longest PIN of Windows Hello."""

SHORTEST_PIN_CHARACTERS: Final = 4
"""The shortest PIN of Windows Hello. No policy allows a shorter one."""

PIN_HISTORY: Final = 50
"""PINs that a policy can forbid to use again, the most that Windows Hello allows."""

PIN_COST_KIB: Final = 256 * 1024
"""256 MiB: what one try of a PIN may take in memory, whatever a stored protector asks for."""

PIN_COST_ITERATIONS: Final = 1024
"""Passes over that memory: with the most memory, some minutes."""

PIN_ATTEMPTS: Final = 32
"""Attempts before a lock. Windows has its TPM lock after so many."""

PIN_BACKOFF_SECONDS: Final = 7 * 24 * 60 * 60
"""A week: the longest lock. Whoever is locked out for longer needs a reset anyway."""

PIN_FOUND_WRONG: Final = 64
"""Attempts that a container remembers to have been wrong, for a client that asks again because no
answer came. More clients at once than so many do not ask one person for a PIN."""

ATTEMPT_ID_BYTES: Final = 16
CONTAINER_ID_BYTES: Final = 16

PASSPORT_KEY_BYTES: Final = PRIVATE_KEY_BYTES - 64
"""A private key that a container's secret wraps: with what the wrapping adds it is still no longer
than a private key may be, so that the same blob holds it."""

PASSPORT_RECORD_BYTES: Final = 0x4000
"""16 KiB: what is stored of a container, of which a history of PINs is the longest part."""

RESET_BYTES: Final = 512
"""What is sent to whoever has a reset key, and back: three values of some 80 bytes."""

PIN_KEYS: Final = 256
"""Keys that a worker has given to prompts and that no PIN has come for."""

PIN_KEYS_PER_USER: Final = 16
"""Of those, one user's: prompts that one person has open."""

PIN_KEY_SECONDS: Final = 600.0
"""How long a prompt may wait for somebody to type."""

PROMPT_SECONDS: Final = 300.0
"""How long a prompt does wait: half as long as the key is kept that its PIN is sealed to."""

PROMPT_CHARACTERS: Final = 500
"""Of a text in a prompt, which may come from others: some lines of a dialog."""

PROMPT_LINES: Final = 8
"""And its lines: a dialog on a terminal needs a dozen of the 24 besides."""

PROMPT_ROUNDS: Final = 3
"""How often one prompt asks when what was typed is no PIN, or was typed differently twice."""

PINENTRY_ANSWER_SECONDS: Final = 10.0
"""How long a pinentry may take for everything but the typing; then another way is tried."""

PINENTRY_CONFIG_BYTES: Final = 0x10000
"""64 KiB of gpg-agent.conf are searched for a pinentry's name; such files have a dozen lines."""

ASSUAN_LINE_BYTES: Final = 1000
"""A line of Assuan without its end, as the protocol has it."""

ASSUAN_ANSWER_LINES: Final = 64
"""Lines of one answer: a pinentry sends the data, a status or two, and comments."""

ASSUAN_DATA_BYTES: Final = 512
"""What somebody typed, before it is looked at: four times the longest PIN."""

ASSERTION_BYTES: Final = 8192
"""The assertion of a logon: an RSA-16384 signature takes 2.7 KiB of it, names and the rest a few
hundred bytes."""

ASSERTION_SECONDS: Final = 60
"""How long an assertion may be good: it is made for one logon, and used at once."""

ASSERTION_LEEWAY_SECONDS: Final = 5
"""By so much the clocks of who made an assertion and who checks it may differ."""

LOGON_NONCES: Final = 1024
"""Nonces that were given out and are still good: so many logons at once."""

LOGON_NONCE_SECONDS: Final = 60.0
"""How long a nonce is good: somebody types a PIN meanwhile."""

LOGON_NONCE_BYTES: Final = 32

LOGON_USER_BYTES: Final = 255
"""A user's name, as Linux has it (LOGIN_NAME_MAX, with a zero)."""

PAM_LOGON_SECONDS: Final = 25.0
"""How long a logon may take that PAM waits for: pam_exec would wait for ever, and login(1) gives
somebody a minute for all of it, the typing and a password after this included."""

PAM_READY_SECONDS: Final = 5.0
"""How long PAM's first line waits for services that do not answer: longer than they take to
restart, and then somebody is asked for a password."""

TICKETS_PER_USER: Final = 16
"""Right PINs of one user whose secret waits in the trustlet for a key: as many as prompts."""

TICKETS: Final = 256
"""The same of all users."""

TICKET_SECONDS: Final = 60.0
"""How long it waits: a key is made or loaded right after the PIN, but for RSA of many bits."""

TICKET_BYTES: Final = 16

FIRST_ANSWER_SECONDS: Final = 1.0
"""How long a Passport service waits, once for each application, for the next one of the chain,
which may just be starting. After that it says that it is not there."""

# --- backups -----------------------------------------------------------------------------------

BACKUP_MANIFEST_BYTES: Final = 0x100000
"""1 MiB: what describes a backup. It names the roots of its keys, of which there are a few."""

BACKUP_SNAPSHOT_BYTES: Final = 16 * 1024 * 1024 * 1024
"""16 GiB: the store in a backup, some ten million keys. It is copied before it is believed."""

BACKUP_ROW_BYTES: Final = 2 * CONTROL_FRAME_BYTES
"""A row of a store that is read back. All of it once came in one control frame."""

BACKUP_ROOT_BYTES: Final = 1024
"""The sealed file of a machine root, which has about a hundred."""

BACKUP_PASSWORD_BYTES: Final = 8
"""The shortest password of a machine root: guesses at a copied file cost time and nothing else."""

# --- TPM (TPM 2.0 Library, Part 2; what libtpms and the PC Client profile implement) -------------

TPM_MESSAGE_BYTES: Final = 4096
"""A command or an answer. MAX_RESPONSE_SIZE of every TPM seen, and the buffer of Linux' driver."""

TPM_DIGEST_BYTES: Final = 64
"""A digest, nonce, HMAC or authValue: the longest hash is SHA-512."""

TPM_NAME_BYTES: Final = 66
"""The Name of an object: its hash algorithm and a digest."""

TPM_KEY_BYTES: Final = 512
"""A number of a key, a signature or a ciphertext: RSA-4096."""

TPM_PUBLIC_BYTES: Final = 1024
"""A public area: a key's number, a policy digest and a few fields around them."""

TPM_PRIVATE_BYTES: Final = 2048
"""The encrypted private part of an object."""

TPM_BUFFER_BYTES: Final = 2048
"""Other data in one piece: NV contents, creation data."""

TPM_SEALED_BYTES: Final = 128
"""What a sealed object holds at most (MAX_SYM_DATA)."""

TPM_LIST_ITEMS: Final = 254
"""Items of a list: the handles that one answer to TPM2_GetCapability has room for."""

TPM_PCR_SELECT_BYTES: Final = 4
"""The bits of one bank; the PC Client profile has 24 PCRs, in three bytes."""

TPM_CAPABILITY_PAGES: Final = 64
"""Answers to one question about capabilities: a TPM that always has more is broken."""

TPM_STORED_BYTES: Final = 4096
"""What is stored of a sealed object: both its parts, and what its policy hangs on."""

# --- enrolment: the machine roots that a TPM keeps -----------------------------------------------

MACHINE_ROOTS: Final = 16
"""The newest machine root, and those before it that still open keys. Each is unsealed at a start,
which takes a TPM a second or so."""

TPM_ADDRESS_BYTES: Final = 128
"""Where a TPM is: the path of a device or a socket, which has 107 bytes at most."""

RECOVERY_COPY_BYTES: Final = 128
"""A root of 32 bytes, sealed to a recovery key: 49 bytes more."""

ENROLMENT_BYTES: Final = MACHINE_ROOTS * (TPM_STORED_BYTES + 2 * RECOVERY_COPY_BYTES) + 1024
"""The file of an enrolment: its roots, each with its recovery copy, and a few fields."""

RESEAL_PAGE: Final = 32
"""Stored keys that one request has sealed by another machine root."""

RESEAL_SECONDS: Final = 5.0
"""After that the next key is another request's."""

RECOVERY_TEXT_BYTES: Final = 16 * 1024
"""What is carried by hand between a machine that lost its roots and the one with the recovery key:
copies of all roots, as text."""

# --- resources of a service ------------------------------------------------------------------

LOADED_KEY_BYTES: Final = 16 * 1024 * 1024
"""Unsealed keys that a worker keeps, counted as ``LOADED_RSA_BYTES`` and so on estimate them."""

LOADED_RSA_BYTES: Final = 8704
LOADED_EC_BYTES: Final = 2150
"""Measured: 8.5 KiB for RSA-2048 that has signed once, 2.1 KiB for P-256."""

CHANNELS_PER_WORKER: Final = 4096
"""Key channels of one worker; each costs a descriptor and a few KiB."""

CHANNELS_PER_USER: Final = 2048
"""Half of them: one user cannot keep the others out of a worker."""

CHANNELS_PER_CONNECTION: Final = 64
"""Key channels to one worker that were handed out on one control connection. A process needs one;
the rest is for those that ended and that it has not closed yet."""

CONNECTIONS: Final = 8192
"""Peers of one service at a time; more wait in the listening socket's backlog."""

CONNECTIONS_PER_USER: Final = 4096
"""Half of them: one user cannot keep the others out."""

HALF_SENT_BYTES_PER_USER: Final = 64 * 1024 * 1024
"""Bytes of frames that a user has begun and not finished, on all connections together."""

UNSENT_BYTES_PER_USER: Final = 64 * 1024 * 1024
"""Bytes of answers that a user has not read, on all connections together, beyond what the
kernel's buffers hold; above it the connection with the next such answer is dropped."""

CALLS_PER_TURN: Final = 32
"""Calls of one connection that are answered before the others have their turn, and that are
worked on at a time: a flood of RSA signatures holds a polite caller up for 32 of them."""

DIGESTS_PER_BATCH: Final = CALLS_PER_TURN
"""Hashes that one call may have signed; it is a turn of its own, and ends with one too."""

CALLS_PER_USER: Final = 8192
"""Calls of one user that a service works on or keeps waiting: two for each connection."""

CALL_BYTES_PER_USER: Final = 64 * 1024 * 1024
"""Their bytes together, as far as they are longer than ``LARGE_CALL_BYTES``: as much as may be
half sent."""

LARGE_CALL_BYTES: Final = 4096
"""Longer calls are weighed one by one. What uses keys is shorter; what is longer carries a
property, or a key."""

CALLS_PER_LINK: Final = 256
"""Calls that a KeyIso service has at one worker for its clients. More wait for their turn in the
service, user by user; a worker would answer them one after the other all the same."""

PROPERTIES_AT_ONCE: Final = 4
"""Properties that workers seal and open for a KeyIso service at a time: each is up to 1 MiB."""

LINK_BUFFER_BYTES: Final = 32 * 1024 * 1024
"""What a KeyIso service holds for a worker that does not read just now: ``CALLS_PER_LINK`` with
a key blob in each, and the properties."""

GENERATIONS_PER_USER: Final = 256
"""Keys of one user that wait for the generator: about as many of RSA-2048 as it makes before
``DEADLINE_SECONDS`` have passed."""

SHORT_RSA_BITS: Final = 4096
"""RSA keys above it are generated beside the others: 4096 bits take a second or so, 16384 bits
more than a minute."""

SHORT_IMPORT_BYTES: Final = 3072
"""The same for imports, whose length in bits nobody knows before they are opened: a key of
RSA-4096 has 2,375 bytes as PKCS #8."""

KEYS_PER_USER: Final = 250_000
"""Stored keys of one user, or of the machine."""

EPHEMERALS_PER_USER: Final = 100_000
"""Ephemeral keys of one user that are alive; each costs 150 bytes of the runtime directory."""

OPERATION_IDS_PER_USER: Final = 100_000
"""Changes of one user in ``OPERATION_MEMORY_SECONDS``."""

BACKLOG: Final = 512
"""Connections that wait for a service that restarts."""

# --- events ------------------------------------------------------------------------------------

EVENT_LINE_BYTES: Final = 0x10000
"""One record of the log: the names in it are bounded, and 16 hops take most of it."""

EVENT_CHANNELS_BYTES: Final = 4096
"""The file that says which channels are on: a line for each of a handful."""

USES_PER_BATCH: Final = 4096
"""Keys and functions that a worker counts until it is asked; further ones are only counted as
lost. All keys of a full worker are about 7,800."""

FAILED_USES_PER_BATCH: Final = 256
"""Different failures that a worker keeps until it is asked: each takes up to 2.5 KiB of a frame."""

USE_TOTALS: Final = 10_000
"""Keys and functions whose uses the KeyIso service sums up; the longest unused are forgotten."""

HELD_FAILURES: Final = 1024
"""Different failures that are being counted, rather than recorded each time."""

EVENTS_AT_ONCE_PER_USER: Final = 100
"""Records of failures that one user can cause at once."""

EVENTS_PER_SECOND_PER_USER: Final = 2.0
"""And in the long run: more are counted. At 600 bytes each, a user who only fails takes about
five hours to push everything else out of the log."""

EVENT_USERS: Final = 1024
"""Users whose failures are counted; the longest silent ones begin anew."""

LOST_INDEX_SECONDS: Final = 60.0
"""How often it is recorded that the TPM does not keep a container's PIN any more: each attempt
finds that again."""

OPERATION_ID_BYTES: Final = 16
CLIENT_GROUP_BYTES: Final = 16
CONNECTION_ID_BYTES: Final = 16
KEY_ID_BYTES: Final = 16
INSTANCE_ID_BYTES: Final = 16
CHANNEL_ID_BYTES: Final = 16
ROOT_ID_BYTES: Final = 16

TRACE_RECORD_BYTES: Final = 0x8000
"""32 KiB: one thing that a client did, with at most ``SPANS`` of the services."""

TRACE_BYTES: Final = 64 * 1024 * 1024
"""What `keyiso trace` keeps of a command: some 300,000 uses of keys. Later ones are counted."""

# --- configuration -----------------------------------------------------------------------------

CONFIG_BYTES: Final = 16384
"""Of a configuration file."""

# --- times, in seconds -------------------------------------------------------------------------

DEADLINE_SECONDS: Final = 30.0
"""How long a client re-binds before it gives up and names the chain."""

PAIRS_REPLACED_SECONDS: Final = 600.0
"""Armed processes are replaced one after the other, which takes each of them a second or two."""

GENERATION_SECONDS: Final = 600.0
"""How long a client waits for a long RSA key: 16384 bits take 80 s on the average, and chance
makes it several times that."""

WATCH_SECONDS: Final = 15.0
"""A client that waits for changes of keys is told after so long that there were none, so that
each side notices when the other one has gone."""

LONGEST_DEADLINE_SECONDS: Final = 240.0
"""A deadline that is set must leave the operation ids remembered for twice as long."""

OPERATION_MEMORY_SECONDS: Final = 600.0
"""How long a committed operation id is remembered: well over twice the deadline, because a
client may have started to wait before the service committed."""

TURN_SECONDS: Final = 0.02
"""After so long a turn of a connection ends, however few calls were answered in it: one signature
of RSA-16384 takes half a second."""

FRAME_SECONDS: Final = 30.0
"""A frame that was begun and is not whole by then ends its connection."""

EPHEMERAL_GRACE_SECONDS: Final = 600.0
"""How long the ephemeral keys of a client last that has no connection and no process any more:
a forked child may use them for the first time after its parent ended."""

LEASE_SECONDS: Final = 60.0
"""How long a worker serves loaded keys without hearing from a KeyIso service, which may have
something to revoke."""

HELLO_SECONDS: Final = 10.0
"""A peer that connected and has not said hello by then is dropped."""

USES_SECONDS: Final = 1.0
"""How long a worker may keep what it counted from a KeyIso service that asks."""

FAILURE_SECONDS: Final = 10.0
"""Equal failures of one program with one key within this time are one record."""

REPORT_SECONDS: Final = 0.1
"""What reporting a failure may add to it, per answer that is waited for."""

TRACE_SECONDS: Final = 1.0
"""How long a program that is traced waits for `keyiso trace` to read; what it then cannot tell is
counted."""

TPM_ANSWER_SECONDS: Final = 300.0
"""How long a TPM may take for one command: a small one makes a long RSA key for minutes."""

TPM_RETRY_SECONDS: Final = 10.0
"""How long a command is sent again that the TPM was not ready for."""

# --- vbs ---

LATCH_SECONDS: Final = 60.0
"""With ``once-per-boot``, how long after the TPM gave the machine roots out they are handed on, and
the latch may take to fall, when the pool of armed workers does not get complete before."""

LATCH_RETRY_SECONDS: Final = 5.0
"""When the TPM does not answer that the latch has fallen."""

KEPT_BOOT_ROOT_BYTES: Final = TPM_STORED_BYTES
"""A boot root as the TPM has sealed it: less than one datagram of a heartbeat, in hexadecimal."""

SHARING_SECONDS: Final = 5.0
"""An armed worker waits so long for a sibling's roots; one that is stopped is replaced later."""

VBS_CLIENTS: Final = 10_000
"""Client processes and functions whose uses of vbs keys are counted for the event log."""

# --- guests: many streams over one line ----------------------------------------------------------

MUX_FRAME_BYTES: Final = 4096
"""What one frame carries: short, so that a small answer does not wait behind a large one, and that
who begins anew can fill up a frame that was cut off."""

MUX_WINDOW_BYTES: Final = 0x10000
"""Bytes of one stream that the other side may send before the last ones were taken: what a stream
that nobody reads costs."""

MUX_STREAMS: Final = 1024
"""Control connections and key channels of one guest together; at two windows each they cost a relay
128 MiB when nobody reads any of them. A program needs two or three."""

MUX_CONTROLS: Final = MUX_STREAMS // 2
"""A relay takes no more clients while it has so many streams: each needs a key channel too."""

MUX_PAUSE_BYTES: Final = 0x100000
"""Above this much unsent data on the line nothing more is read for it."""

MUX_UNSENT_BYTES: Final = 4 * MUX_PAUSE_BYTES
"""Above it the line is given up: who obeys the windows never comes so far."""
