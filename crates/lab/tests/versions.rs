//! Every PostgreSQL that the machine has can be a primary in a lab.

use reseed_lab::{Lab, Major, PrimaryOptions, Server, installed_majors};

#[test]
fn every_installed_version_serves() {
    let lab = Lab::new().unwrap();
    for number in installed_majors().into_keys() {
        let major = Major::numbered(number).unwrap();
        let data = lab.path(&format!("{number}/data"));
        let server = Server::primary(&lab, &number.to_string(), &major, data, &PrimaryOptions::default()).unwrap();
        server.fill(1).unwrap();
        let version = server.sql("show server_version_num").unwrap();
        assert_eq!(version.parse::<u32>().unwrap() / 10_000, number);
        assert_eq!(server.rows().unwrap(), 100_011);
        server.stop().unwrap();
    }
}
