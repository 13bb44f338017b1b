"""What happens to records on the way, one file each; verbs."""
