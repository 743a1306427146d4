package egress

import "slices"

// badPorts are the ports that browsers do not open, because another protocol could
// misinterpret the request (WHATWG Fetch, "port blocking"). They are in ascending order.
var badPorts = []uint16{
	0, 1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102,
	103, 104, 109, 110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465,
	512, 513, 514, 515, 526, 530, 531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993,
	995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668,
	6669, 6679, 6697, 10080,
}

// portAllowed reports whether requests may be sent to the port. System services listen
// below 1024, so only the two HTTP ports are allowed there. With local, all of them are.
func portAllowed(scheme string, port uint16, local bool) bool {
	if _, bad := slices.BinarySearch(badPorts, port); bad {
		return false
	}
	return port >= 1024 || port == 443 || port == 80 && scheme == "http" || local
}
