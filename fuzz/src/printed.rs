//! What programs of another machine print.

/// Everything that is read of `zfs`; the first line is the dataset that was asked about.
pub(crate) fn zfs(data: &[u8]) -> bool {
    let text = String::from_utf8_lossy(data);
    let (dataset, text) = text.split_once('\n').unwrap_or(("tank/pg", &text));
    reseed_storage_zfs::testkit::read(text, dataset);
    true
}

/// Everything that is read of `btrfs` and of mount tables.
pub(crate) fn btrfs(data: &[u8]) -> bool {
    reseed_storage_btrfs::testkit::read(&String::from_utf8_lossy(data));
    true
}

pub(crate) fn of_zfs() -> Vec<Vec<u8>> {
    let texts = [
        "tank/pg\ntank/pg\t-\t/tank/pg\ton\tyes\ntank/pg/wal\ttank/x@y\t/wal\tnoauto\t-\n",
        "tank/pg\ntank/pg@a\tguid\t1234567890123456789\t-\ntank/pg@a\tuserrefs\t0\t-\ntank/pg@a\treseed:target\tt\tlocal\n",
        "tank/pg\nfull\ttank/pg@a\t12345\nsize\t12345\n",
        "tank\n---- Permissions on tank ---\nLocal+Descendent permissions:\n\tuser op @s,send\nPermission sets:\n\t@s hold\n",
        "tank\nusage: zfs command args ...\n\tsend [-DnPpRvLecw] [-[iI] snapshot] <snapshot>\n\treceive [-vnFu] [-o x] <filesystem>\n",
        "tank\ncannot open 'tank/pg': dataset does not exist\n",
        "tank\ntank /tank zfs rw,xattr 0 0\ntank/pg /tank/p\\040g fuse.zfs rw 0 0\n",
    ];
    texts.map(|text| text.as_bytes().to_vec()).to_vec()
}

pub(crate) fn of_btrfs() -> Vec<Vec<u8>> {
    let texts = [
        "Label: none  uuid: 3c3a\n\tTotal devices 1 FS bytes used 1\nall\nID 256 gen 9 cgen 7 parent 5 top level 5 \
         parent_uuid - received_uuid - uuid aa-bb path <FS_TREE>/pg\nreadonly\nID 257 gen 8 top level 5 path pg\nhere\n\
         pg\n\tName: pg\n\tUUID: aa-bb\n",
        "48 27 0:44 / /a rw,relatime - btrfs /dev/vdb rw\n49 27 0:44 /pg /b\\040c rw - btrfs /dev/vdb rw,subvol=/pg\n",
        "\titem 8 key (256 ROOT_ITEM 0) itemoff 1 itemsize 439\n\t\tgeneration 9 root_dirid 256 otransid 9 ctransid 8\n",
        "ERROR: Could not destroy subvolume/snapshot: Device or resource busy\n",
    ];
    texts.map(|text| text.as_bytes().to_vec()).to_vec()
}
