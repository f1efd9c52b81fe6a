//! Keys that exist for these tests alone: base64url of DER (secret) and of the numbers of a JWK (public).

/// An RSA key of 2048 bits, PKCS #1.
pub(super) const RSA_SECRET: &str = "\
    MIIEpAIBAAKCAQEA6Sf3VkjEZ_wXLN8JjNdSuZz7HsXtoM1UVs_t8KmAO1ZdXM2UuPlwp9TriuATJkaAIGWHQ2aZfWithx5e\
    pm-ug6NWheFisnTUhCa3oi6w-xY8LBEXd3MoUmNUAq46k6XOzISwVkEJXvVKbmUz_8lSqvN-PNUmnl5E2H72MAit3cgVqlbR\
    -IVHyhwRuASXa7a3oLMzIC9LR653u0s5UlxVOVZOJr7vCQ-sXJ8DXpskVbbfhb-kBZrupiF-alxKhqopNk9mEM36ld96w44V\
    eKjtdcIib2sz4CCeooaNjPdY30WpKOOT0Y_MOKMmGqaj8134MDjljkIspjUu1bEp1_y3fwIDAQABAoIBADEbkV1Tk0ahkpIJ\
    Yh4PhiWBGmVHY_7_8Fkej2umj9MvpBd1V3NEWoWG85t7CZ2AsODh8YTxObfv0cjJTT85-6RPRVyKdbrHn7E75Gac9frUmpTf\
    frVShHYh5KJx5vWNMUrjUa7BIQOmn2g0Gakw0qAeDAMtE-a8TTzaNOk2EsTIxksZhQLwmSF0Bz6ay_ljyLN7AxkWV2kDCmRv\
    3I4SWOqKf4mYA02CNjyeeQWzhoFIfLUjOhOTTuk33QZo-8pcFbYnBbIQp5QDiDlbyXd1IoyEcbMb3N_w5CAcgUET3cKNqSCn\
    2kkmxSk1CxiT08-jXxdGUAj7kE7Jz5cxIIG0TaECgYEA_Fv5Wm711AWi6r_LNbZw5t4tSa9CyB5EyewYrMoFe5p-8KhuVcyb\
    O-jYNquBXDgk-UWzQN7a7vGjGNLyDB33JM7uZ1QguOAH2Bqw661y7FTOO-PnoiNeNR3cbOz6VVBTUcWtm7mg9nCwOkxHDjxf\
    rxvBrP-xKSOZZX3iOtxWHqECgYEA7IUR76uBvtKAGBMf16OHVj1scl1SZRxUWlDK1vpAL-OtKYtXrQF8zIlQWlK09jJXc6lJ\
    --QKxtLsNAzK6URhFF4XntybRg5lxIbU7pvhLx66Myq4mhiRCpvhuxydiGCQhFsUKSqK9956gWVngYvx0Xu0NCpQaZvY9BnO\
    EUS5wh8CgYEAsIlOuFqjEb0XqQyehWapOHf4SnGWUBQMnwzQfh-dEkiTwJqzBMZrWc-bYTM8_VwxUUfXC-xaT4kuRTFcLenQ\
    eCliUVpiwbHHCwAw_82IdZcl5nOaGKyRPKs1BeYJgSD-CFg3CJck6QEP5thxZJ4LeZ37MKB2OIc0yfD0D6UPgcECgYB1KElF\
    LfBb5Itc4YRBXZh5SH3CfKWGviyufByttlI7Jo0s6f_pC7aU3mO2Cgfnd_JHsZCbPE92Qx6Lfda5C40G-MC8iUxEvHb-jUdG\
    VmKJ46-aDsxYUFjwJ1z-QWNrHWIYncDzz0X9F_AYznEiA38qJBuUR22DkpY5-9pORXu6QwKBgQDgTFnI5nghcB-cV8aOcY1f\
    72B8tlA_MBnLRfE1-to7eIe_-9HFDiraSlS_55dTF0M4sWEw-tYWYhDkqrrlbJp6q8AZYUOULFJiOnc3uxsuwpMKrHYdJcA9\
    3_g4fdZQMnIpwexQuRebpED170i-MUXSPA0X5fhJ4rznhhtTbdPDpg";

/// Its modulus; the exponent is `AQAB`.
pub(super) const RSA_N: &str = "\
    6Sf3VkjEZ_wXLN8JjNdSuZz7HsXtoM1UVs_t8KmAO1ZdXM2UuPlwp9TriuATJkaAIGWHQ2aZfWithx5epm-ug6NWheFisnTU\
    hCa3oi6w-xY8LBEXd3MoUmNUAq46k6XOzISwVkEJXvVKbmUz_8lSqvN-PNUmnl5E2H72MAit3cgVqlbR-IVHyhwRuASXa7a3\
    oLMzIC9LR653u0s5UlxVOVZOJr7vCQ-sXJ8DXpskVbbfhb-kBZrupiF-alxKhqopNk9mEM36ld96w44VeKjtdcIib2sz4CCe\
    ooaNjPdY30WpKOOT0Y_MOKMmGqaj8134MDjljkIspjUu1bEp1_y3fw";

/// A P-256 key, PKCS #8.
pub(super) const P256_SECRET: &str = "\
    MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg_juumElyzAoPcb4GrM-o_bzOpDGozxAulKCnNsxNqpWhRANC\
    AAQyXj2w3E_nsHcq52cmF9Md_qkY5eIF7LN0SHuZsDsGD1bDj88yvc8hhAzVS09Tbnj0VCSvHO9uFFeYYdbZVTSf";

/// Its point.
pub(super) const P256_X: &str = "Ml49sNxP57B3KudnJhfTHf6pGOXiBeyzdEh7mbA7Bg8";

/// Its point.
pub(super) const P256_Y: &str = "VsOPzzK9zyGEDNVLT1NuePRUJK8c724UV5hh1tlVNJ8";
