"""Certificates from an ACME authority (RFC 8555): the client, and what it asks of those who answer for us.

    issuing      the door: an `Issuer` registers, issues, revokes        wishes   what callers hold
    pursuit      one order, pursued to its end                           accounting   an account's life
    client       a conversation: nonces, problems, Retry-After           surroundings   what is handed in
    causes       why one broke off, in words
    ordering, accounts, introductions   what lies on the disk (with folders)

The pure half, by what an authority may say: challenges (what it asks as proof, and the one right answer),
messages, problems, renewalinfo, chains, jws (what we sign), order (the next step), errors.
"""
