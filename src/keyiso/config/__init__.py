"""What an administrator sets in files, in the configuration directories of an instance."""
