"""What keeps a cluster going: controllers that compare what is with what shall be, on the cluster's own clock."""
