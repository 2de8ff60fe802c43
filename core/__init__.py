"""What every room shares: types, errors, settings, models table. Imports nothing of ours."""
