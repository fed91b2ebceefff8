# All is allowed but one file. Compiled with: apparmor_parser -QKT -o confined.policy confined.profile
profile dhow-test flags=(attach_disconnected) {
  /** rwlkmix,
  deny /etc/group r,
  capability,
}
