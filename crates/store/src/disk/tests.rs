use super::{Disk, Folder, ZEROS, write_zeros};

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
