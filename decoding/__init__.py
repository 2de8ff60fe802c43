"""How ``transcriber.py`` decodes: windows as clips, the model's calls, rounds, quality, words."""
