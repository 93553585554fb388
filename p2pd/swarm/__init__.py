"""What a download does next, as values in and values out."""
