"""Structured records of what happened, by the ids of Microsoft-Windows-Crypto-NCrypt."""
