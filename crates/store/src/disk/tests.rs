use super::{Disk, Folder, Guarded, ZEROS, write_zeros};

#[test]
fn space_is_taken_by_zeros_where_the_file_system_cannot_allocate() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = Folder::open(folder.path()).and_then(|disk| disk.create("file")).expect("a file");
    file.write_at(0, b"kept").expect("there is room");
    let len = 2 * ZEROS + 7;
    write_zeros(&*file, 4, len).expect("there is room");
    let mut bytes = vec![1; len as usize];
    file.read_at(0, &mut bytes).expect("all of it was written");
    assert!(bytes.starts_with(b"kept") && bytes[4..].iter().all(|byte| *byte == 0));
    assert_eq!(file.len().expect("it is open"), len);
}

#[cfg(unix)]
#[test]
fn a_sync_that_does_not_reach_the_folder_is_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = Folder::open(folder.path()).expect("it exists");
    disk.sync().expect("it exists");
    folder.close().expect("it is empty");
    disk.sync().expect_err("the folder is gone");
}

#[test]
fn a_guarded_file_passes_each_change_on_until_one_fails() {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = Guarded::new(Folder::open(folder.path()).expect("it exists"));
    let file = disk.create("file").expect("there is room");
    let has = |len: u64| assert_eq!(file.len().expect("it is open"), len);
    file.write_at(0, b"bytes").expect("there is room");
    has(5);
    file.set_len(9).expect("there is room");
    has(9);
    file.allocate(30).expect("there is room");
    has(30);
    file.sync().expect("the disk works");
    file.reread().expect("the disk works");

    file.set_len(u64::MAX).expect_err("no file is this long");
    file.write_at(40, b"bytes").expect_err("a change failed");
    file.set_len(9).expect_err("a change failed");
    file.allocate(50).expect_err("a change failed");
    file.sync().expect_err("a change failed");
    file.reread().expect_err("a change failed");
    disk.create("other").expect_err("a change failed");
    has(30);
}
