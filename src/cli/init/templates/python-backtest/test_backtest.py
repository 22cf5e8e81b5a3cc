"""Run with: python3 -m unittest"""

import unittest

import backtest


class BacktestTest(unittest.TestCase):
    def test_the_sample_prices_give_a_result(self):
        result = backtest.main("test", {"window": 5})
        self.assertEqual(result["days"], len(result["equity"]))
        self.assertGreater(result["trades"], 0)

    def test_a_price_that_always_rises_is_bought_once(self):
        equity, trades = backtest.simulate([1.0, 2.0, 4.0, 8.0], 2)
        self.assertEqual((equity, trades), ([1.0, 1.0, 2.0, 4.0], 1))

    def test_a_window_that_is_too_short_is_refused(self):
        with self.assertRaisesRegex(ValueError, "window must be 2 or more"):
            backtest.main("test", {"window": 1})


if __name__ == "__main__":
    unittest.main()
