"""What the tests stand on: a real server, a virtual sound card, stations, peers, and patience with a deadline."""
