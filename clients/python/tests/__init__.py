"""Tests of the client against a scripted gateway; tests/e2e has those against the real one."""
