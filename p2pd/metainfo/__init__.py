"""What a torrent is: names, files, pieces, digests and their encodings."""
