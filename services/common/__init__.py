"""What every process shares: settings, credentials, logs, errors, servers and channels. Knows no service."""
