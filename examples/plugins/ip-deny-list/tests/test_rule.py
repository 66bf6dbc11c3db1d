import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "src"))

import rule


class Rule(unittest.TestCase):
    def test_networks_and_addresses_are_denied(self):
        text = "203.0.113.0/24, 198.51.100.7\n2001:db8:bad::/48"
        for address in ["203.0.113.0", "203.0.113.255", "198.51.100.7", "2001:db8:bad:1::5", "::ffff:203.0.113.9"]:
            self.assertTrue(rule.denied(address, text), address)
        for address in ["203.0.114.0", "198.51.100.8", "2001:db8:bae::1", "::1"]:
            self.assertFalse(rule.denied(address, text), address)

    def test_an_empty_list_denies_nobody(self):
        self.assertFalse(rule.denied("192.0.2.1", " \n,"))

    def test_a_mistake_in_the_list_is_named(self):
        for text in ["203.0.113.0/33", "203.0.113.7/24", "example.com"]:
            with self.assertRaisesRegex(ValueError, text):
                rule.denied("192.0.2.1", text)


if __name__ == "__main__":
    unittest.main()
