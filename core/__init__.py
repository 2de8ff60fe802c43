"""Shared by every package: types, errors, settings, the models table. Imports none of them."""
