"""Issuers: those who make certificates on this device, each behind values and a bundle."""
