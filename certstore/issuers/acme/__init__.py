"""Certificates from an ACME authority (RFC 8555): the client, and what it asks of those who answer for us.

The pure half, by what an authority may say: challenges (what it asks as proof, and the one right answer).
"""
