"""Weight averagings, one file each. They wrap an algorithm and predict with averaged weights."""
