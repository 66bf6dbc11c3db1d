import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "src"))

import rule


class Rule(unittest.TestCase):
    def test_only_the_team_may_publish(self):
        self.assertIsNone(rule.publish("team-alice"))
        self.assertEqual(rule.publish("mallory")[0], "not-in-the-team")


if __name__ == "__main__":
    unittest.main()
