"""alto.yaml on the boot partition of the card: the inbox from which the station is configured.

The card is FAT, read by any computer, and hurt by any power cut; so it is only the inbox. What is valid is taken to
the state directory, where the station reads it; secrets do not stay on the card; and what became of the file, and how
the station is doing, is written beside it for the person who holds the card.
"""
