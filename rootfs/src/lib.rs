//! Rootfs: builds the file system a container sees. Not its job: where the layers come from (image).
