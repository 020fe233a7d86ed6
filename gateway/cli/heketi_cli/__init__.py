"""`heketi-cli`, drop-in: the commands, flags, texts and exit codes that scripts written for Heketi's client rely on."""
