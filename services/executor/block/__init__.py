"""gluster-block: block devices as files in gluster volumes, exported over iSCSI."""
