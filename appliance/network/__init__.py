"""The room: tokens, connection, remote voices, the embedded server. Knows neither sound cards nor the supervisor."""
