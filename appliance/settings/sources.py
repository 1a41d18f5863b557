"""Everything that a configuration is made of, remembered, so that it can be loaded again while the station runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from appliance.errors import ConfigError
from appliance.settings.kept import Kept, same_file
from appliance.settings.load import Loaded, find_config, load


@dataclass(frozen=True, slots=True)
class Sources:
    """Where alto.yaml is, and what the command line and the environment lay over it."""

    env: Mapping[str, str]
    file: Path | None = None
    """The file that was named; None: the first that is found."""
    flags: Mapping[str, object] = field(default_factory=dict)
    """By dotted key, as `load` takes them."""
    flag_names: Mapping[str, str] = field(default_factory=dict)

    def load(self) -> Loaded:
        """Read all of it now. Raises ConfigError."""
        return self._load(find_config(self.file, self.env))

    def load_kept(self, kept: Kept) -> Loaded | None:
        """The same with a content that was kept; None when it is another file's, or does not do either."""
        try:
            if not same_file(find_config(self.file, self.env), kept):
                return None
        except ConfigError:  # none was named and none is there: the one that was kept is meant
            pass
        try:
            return self._load(kept.path, kept)
        except ConfigError:
            return None

    def _load(self, path: Path, kept: Kept | None = None) -> Loaded:
        return load(path, flags=self.flags, env=self.env, flag_names=self.flag_names, kept=kept)
